//! [`Parameters`]: module parameters on the kernel command line.

use std::collections::BTreeMap;

use crate::normalize_name;

/// Parameters of modules, from words such as `amdgpu.runpm=0` of the kernel command line. The kernel itself passes
/// them only to built-in modules; for others the program that loads the module has to (kernel
/// Documentation/admin-guide/kernel-parameters.rst).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    of_module: BTreeMap<String, String>,
}

impl Parameters {
    /// Parses a command line: words with a dot in their name are module parameters, `-` and `_` are the same in a
    /// module's name, and a value with blanks is in double quotes, which are passed to the module as well. Words after
    /// `--` are for PID 1.
    pub fn from_command_line(text: &str) -> Self {
        let mut all = Self::default();
        for word in words(text).take_while(|word| *word != "--") {
            // The whole word may be quoted instead of its value: the kernel removes the quotes then.
            let word = match word.strip_prefix('"') {
                Some(inside) => inside.strip_suffix('"').unwrap_or(inside),
                None => word,
            };
            let name = word.split('=').next().unwrap_or_default();
            let Some((module, parameter)) = name.split_once('.') else { continue };
            // A NUL would end the string in the kernel.
            if module.is_empty() || parameter.is_empty() || word.contains('\0') {
                continue;
            }
            let given = all.of_module.entry(normalize_name(module)).or_default();
            if !given.is_empty() {
                given.push(' ');
            }
            given.push_str(&word[module.len() + 1..]);
        }
        all
    }

    /// Parameters of a module in the form that `finit_module(2)` takes; empty if there are none. Of two values the
    /// last counts.
    pub fn of(&self, module: &str) -> &str {
        self.of_module.get(&normalize_name(module)).map_or("", String::as_str)
    }
}

/// Splits words as the kernel does: blanks between double quotes belong to a word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let at_blank = move |char: char| {
        quoted ^= char == '"';
        !quoted && char.is_ascii_whitespace()
    };
    text.split(at_blank).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_module_gets_its_own_words() {
        let line = "quiet amdgpu.runpm=0 root=PARTUUID=1.2 usb-storage.quirks=0bc2:ab38:u amdgpu.modeset \
            rocbed.gpu=gfx1030 amdgpu.lockup_timeout=10000,60000\n";
        let all = Parameters::from_command_line(line);
        assert_eq!(all.of("amdgpu"), "runpm=0 modeset lockup_timeout=10000,60000");
        assert_eq!(all.of("usb_storage"), "quirks=0bc2:ab38:u");
        assert_eq!(all.of("usb-storage"), all.of("usb_storage"));
        assert_eq!(all.of("ext4"), "");
    }

    #[test]
    fn values_may_have_blanks() {
        let all = Parameters::from_command_line("a.text=\"one two\" \"b.text=three four\" c.d=e.f -- z.y=x");
        assert_eq!((all.of("a"), all.of("b"), all.of("c")), ("text=\"one two\"", "text=three four", "d=e.f"));
        assert_eq!(all.of("z"), "", "what is for PID 1 is no module's");
    }

    #[test]
    fn what_names_no_module_or_no_parameter_is_nothing() {
        assert_eq!(Parameters::from_command_line(".x=1 y.=2 = . plain \"").of_module.len(), 0);
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: String, module in "[a-z_-]{1,8}") {
            prop_assert!(!Parameters::from_command_line(&line).of(&module).contains('\0'));
        }
    }
}
