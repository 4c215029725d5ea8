//! Splits command lines as far as the documentation needs: words, quotes, comments, variables, separators. A shell runs
//! the lines; this module only finds the called programs.

/// One command of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Variables that are set only for this command.
    pub variables: Vec<String>,
    /// Program and arguments, without sudo.
    pub words: Vec<String>,
}

impl Command {
    /// Name of the program, without its directory.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word))
    }

    /// The words with blanks between.
    pub fn text(&self) -> String {
        let words = self.words.iter().skip(1).map(String::as_str);
        std::iter::once(self.program()).chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// The commands of a line.
pub fn commands(line: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    for words in tokens(line).split(|token| matches!(token, Token::Between)) {
        let mut command = Command { variables: Vec::new(), words: Vec::new() };
        let mut redirected = false;
        for token in words {
            match token {
                Token::Redirection => redirected = true,
                Token::Word(_) if std::mem::take(&mut redirected) => {}
                Token::Word(word) if command.words.is_empty() && is_assignment(word) => {
                    command.variables.push(word.split('=').next().unwrap_or_default().to_owned());
                }
                Token::Word(word) if command.words.is_empty() && ["sudo", "do"].contains(&word.as_str()) => {}
                Token::Word(word) => command.words.push(word.clone()),
                Token::Between => {}
            }
        }
        if !command.words.is_empty() {
            commands.push(command);
        }
    }
    commands
}

fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    !name.is_empty() && name.chars().all(|char| char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_')
}

enum Token {
    Word(String),
    /// `&&`, `;`, `|` and similar.
    Between,
    /// `>`, `<`: a file name follows.
    Redirection,
}

fn tokens(line: &str) -> Vec<Token> {
    let (mut tokens, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for char in line.chars() {
        match (quote, char) {
            (Some(open), _) if char == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '\t' | '&' | ';' | '|' | '>' | '<') => {
                tokens.extend(word.take().map(Token::Word));
                match char {
                    '&' | ';' | '|' => tokens.push(Token::Between),
                    '>' | '<' => tokens.push(Token::Redirection),
                    _ => {}
                }
            }
            _ => word.get_or_insert_default().push(char),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

#[test]
fn a_line_is_taken_apart() {
    let line = "A=1 sudo rocbed boot x --append \"a=b c\" > file && cd y | tar   # why: \"it\" is so";
    let taken = commands(line);
    let texts: Vec<_> = taken.iter().map(Command::text).collect();
    assert_eq!(texts, ["rocbed boot x --append a=b c", "cd y", "tar"]);
    assert_eq!((taken[0].words.len(), &taken[0].variables[..]), (5, &["A".to_owned()][..]));
    assert_eq!(commands("for b in *; do target/release/rocbed plan \"$b\"; done")[1].text(), "rocbed plan $b");
    assert_eq!(commands("# nothing"), []);
}
