//! Descriptions of a job's requirements, for users.

use protocol::{GpuNeed, Job};

/// Most versions and most package files that are named.
const MOST_SHOWN: usize = 20;

/// The job's fields besides source and GPU, as names and values.
pub(crate) fn fields(job: &Job) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("As", job.run_as.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ("Timeout", job.timeout.to_string()),
    ];
    for (name, list) in [("Only tests", &job.tests), ("Pin", &job.pin)] {
        if !list.is_empty() {
            fields.push((name, list.join(", ")));
        }
    }
    let versions = job.versions.iter().take(MOST_SHOWN).map(|(name, version)| format!("{name} {version}"));
    let packages = job.packages.iter().take(MOST_SHOWN).map(ToString::to_string);
    for (name, list, count) in [
        ("Versions", versions.collect::<Vec<_>>(), job.versions.len()),
        ("Packages", packages.collect(), job.packages.len()),
    ] {
        let more = if count > MOST_SHOWN { format!(" and {} more", count - MOST_SHOWN) } else { String::new() };
        if count > 0 {
            fields.push((name, format!("{}{more}", list.join(", "))));
        }
    }
    fields.extend(job.apt_sources.iter().map(|source| ("Apt source", source.to_string())));
    fields.extend(job.archive.iter().map(|archive| ("Archive", archive.to_string())));
    fields.extend(job.env.iter().map(|(name, value)| ("Env", format!("{name}={value}"))));
    if job.priority != 0 {
        fields.push(("Priority", job.priority.to_string()));
    }
    if job.shards > 1 {
        fields.push(("Parts", job.shards.to_string()));
    }
    fields
}

/// The job's requirements of a machine.
pub(crate) fn needs(job: &Job) -> String {
    let mut words = match (&job.gpu, job.gpus) {
        (GpuNeed::None | GpuNeed::IfThere, _) | (_, 1) => job.gpu.to_string(),
        (need, count) => format!("{count} GPUs: {need}"),
    };
    if let Some(memory) = job.gpu_memory {
        words.push_str(&format!(" with {memory} MiB"));
    }
    if let Some(memory) = job.memory {
        words.push_str(&format!(", {memory} MiB of memory"));
    }
    words
}

/// Reason why a job's result does not count in the matrix, if it does not.
pub(crate) fn not_counted(job: &Job) -> Option<String> {
    let fields = job.departures();
    (!fields.is_empty()).then(|| {
        let fields = fields.join(", ");
        format!("This is not the package's plain run ({fields}), so its result does not count in the matrix.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_says_is_shown() {
        let json = r#"{"package": "rocrand", "gpu": ["gfx1030"], "gpus": 2, "as": ["user", "root"], "timeout": "90m",
            "pin": ["experimental=src:rocr-runtime"], "archive": "experimental", "versions": {"rocminfo": "7.1-1"},
            "packages": ["librocrand1_7.2-1_amd64.deb"],
            "apt-sources": [{"uris": ["http://x"], "suites": ["sid"], "components": ["main"], "trusted": true}], "env": {"A": "1", "B": "2"}, "tests": ["a", "b"], "memory": 4096,
            "priority": -3, "shards": 4}"#;
        let job: Job = serde_json::from_str(json).expect("a job");
        let told: Vec<String> = fields(&job).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let expected = [
            "As: user, root",
            "Timeout: 1h30m",
            "Only tests: a, b",
            "Pin: experimental=src:rocr-runtime",
            "Versions: rocminfo 7.1-1",
            "Packages: librocrand1_7.2-1_amd64.deb",
            "Apt source: http://x sid main (not signed)",
            "Archive: experimental",
            "Env: A=1",
            "Env: B=2",
            "Priority: -3",
            "Parts: 4",
        ];
        assert_eq!(told, expected);
        assert_eq!(needs(&job), "2 GPUs: gfx1030, 4096 MiB of memory");
        let large = r#"{"package": "rocblas", "gpu": "any", "gpu-memory": 16000}"#;
        assert_eq!(needs(&serde_json::from_str(large).expect("a job")), "any GPU with 16000 MiB");
        assert!(
            not_counted(&job)
                .is_some_and(|text| text.contains("(pin, versions, packages, apt-sources, archive, env, tests)"))
        );
        let plain = Job::of_package("rocrand");
        assert_eq!(fields(&plain).len(), 2);
        assert_eq!(not_counted(&plain), None);
    }
}
