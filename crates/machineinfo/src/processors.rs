//! [`Processors`]: number and name from `/proc/cpuinfo`.

use std::fs;

/// The machine's processors (`proc_cpuinfo(5)`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processors {
    /// How many the kernel has, each thread of a core counted.
    pub count: u32,
    /// The first one's name (`model name`), if its architecture has one.
    pub name: Option<String>,
}

impl Processors {
    /// The processors of this machine; none if the kernel does not tell.
    pub fn read() -> Self {
        // Names are not always UTF-8.
        let text = fs::read("/proc/cpuinfo").unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// Whether QEMU translates their instructions (TCG) instead of running them. Told by the name of its model `max`, which
    /// `rocbed boot` uses: other models have the same name under KVM.
    pub fn are_emulated(&self) -> bool {
        self.name.as_deref().is_some_and(|name| name.starts_with("QEMU TCG CPU"))
    }

    /// Takes number and name from the text of the file.
    pub fn parse(cpuinfo: &str) -> Self {
        let values = |key: &'static str| {
            let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
            fields.filter(move |(name, _)| name.trim_end() == key).map(|(_, value)| value.trim())
        };
        let count = u32::try_from(values("processor").count()).unwrap_or(u32::MAX);
        Self { count, name: values("model name").next().map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_and_the_first_is_named() {
        let text = "processor\t: 0\nmodel name\t: EPYC 7\n\nprocessor\t: 1\nmodel name\t: EPYC 7\n";
        assert_eq!(Processors::parse(text), Processors { count: 2, name: Some("EPYC 7".into()) });
        assert_eq!(Processors::parse("nonsense"), Processors::default());
    }
}
