//! `rocbed top`: the workers, running jobs and latest results of a hub, live on a terminal.

mod screen;
mod snapshot;
mod view;

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::{print, print_json};
use crate::cmdline::Top;
use crate::hubs::{HubAccess, connect};
use crate::table;
use screen::{Key, Terminal};
use snapshot::{Reader, Snapshot};
use view::{View, frame};

/// Shortest time between two looks at the hub.
const SHORTEST: Duration = Duration::from_millis(500);
/// How long a key is waited for before the terminal's size and the hub's answer are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Shows a hub until `q` is pressed. Without a terminal it is shown once.
pub fn run(options: &Top) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let mut reader = Reader::new(client);
    let first = reader.read().map_err(|error| place.explain(error))?;
    if options.json {
        return print_json(&first);
    }
    let screen = table::Screen::of_stdout();
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let lines = frame(&first, &View::default(), &place.address, Timestamp::now(), screen, usize::MAX);
        return print(&(lines.join("\n") + "\n"));
    }
    live(reader, first, &place, options.every.0.max(SHORTEST), screen.colour)
}

/// What the reading thread says.
type News = Result<Snapshot, String>;

fn live(mut reader: Reader, first: Snapshot, place: &HubAccess, every: Duration, colour: bool) -> Result<()> {
    let (tell, news) = mpsc::channel::<News>();
    let (wake, woken) = mpsc::channel::<()>();
    let explained = place.clone();
    thread::spawn(move || {
        // Ends when the screen does: then nobody wakes it, and nobody listens.
        while !matches!(woken.recv_timeout(every), Err(RecvTimeoutError::Disconnected)) {
            let read = reader.read().map_err(|error| explained.explain(error).to_string());
            // The first line says what is wrong; what to do about it is not for a status line.
            let read = read.map_err(|error| error.lines().next().unwrap_or_default().to_owned());
            if tell.send(read).is_err() {
                break;
            }
        }
    });
    let mut terminal = Terminal::open()?;
    let mut view = View::default();
    let mut snapshot = first;
    let mut shown = String::new();
    while !terminal.is_ended() {
        for news in news.try_iter() {
            match news {
                Ok(new) => (snapshot, view.trouble) = (new, None),
                Err(trouble) => view.trouble = Some(trouble),
            }
        }
        let (width, height) = terminal.size();
        let screen = table::Screen { colour, width: Some(width) };
        let lines = frame(&snapshot, &view, &place.address, Timestamp::now(), screen, height);
        let text = lines.join("\n");
        if text != shown {
            terminal.draw(&lines)?;
            shown = text;
        }
        if let Some(key) = terminal.key(TICK)?
            && !press(&mut view, key, &wake)
        {
            break;
        }
    }
    Ok(())
}

/// Takes a key; returns whether to go on.
fn press(view: &mut View, key: Key, wake: &Sender<()>) -> bool {
    match (view.typing, key) {
        (_, Key::Interrupt) | (false, Key::Char('q')) => return false,
        (true, Key::Enter) => view.typing = false,
        (true, Key::Escape) => (view.typing, view.filter) = (false, String::new()),
        (true, Key::Backspace) => drop(view.filter.pop()),
        (true, Key::Char(char)) => view.filter.push(char),
        (false, Key::Char('s')) => view.sort = view.sort.next(),
        (false, Key::Char('/')) => view.typing = true,
        (false, Key::Escape) => view.filter.clear(),
        (false, Key::Char(' ')) => {
            // The thread may have ended with the hub; the next look tells.
            let _ = wake.send(());
        }
        (true, Key::Other) | (false, _) => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use view::Sort;

    #[test]
    fn keys_filter_sort_and_quit() {
        let (wake, woken) = mpsc::channel();
        let mut view = View::default();
        for key in
            [Key::Char('/'), Key::Char('q'), Key::Char('x'), Key::Backspace, Key::Enter, Key::Char('s'), Key::Char(' ')]
        {
            assert!(press(&mut view, key, &wake), "{key:?}");
        }
        assert_eq!((view.filter.as_str(), view.typing, view.sort), ("q", false, Sort::State));
        assert!(woken.try_recv().is_ok());
        assert!(press(&mut view, Key::Escape, &wake) && view.filter.is_empty());
        assert!(!press(&mut view, Key::Char('q'), &wake));
        view.typing = true;
        assert!(!press(&mut view, Key::Interrupt, &wake));
    }
}
