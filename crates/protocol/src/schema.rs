//! JSON Schemas of the documents that rocbed reads and writes (JSON Schema, draft 2020-12).

use crate::{JobList, JobResult};

/// The schema of a job list, for editors.
pub fn job_list() -> schemars::Schema {
    schemars::schema_for!(JobList)
}

/// The schema of `result.json`, for programs that read results.
pub fn result() -> schemars::Schema {
    schemars::schema_for!(JobResult)
}

#[cfg(test)]
mod tests {
    #[test]
    fn schemas_name_what_is_written() {
        let list = super::job_list().to_value().to_string();
        for field in ["package", "gpu", "as", "timeout", "pin"] {
            assert!(list.contains(&format!("\"{field}\"")), "{field}: {list}");
        }
        assert!(super::result().to_value().to_string().contains("\"exit-status\""));
    }
}
