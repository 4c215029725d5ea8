//! Headless Chromium, controlled with the `DevTools` protocol over a pipe: JSON messages, each followed by a NUL byte
//! (Chromium's `--remote-debugging-pipe`). Chromium exits when the pipe is closed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Timeout, generous enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The browser, with one page.
pub struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    last: u64,
    session: String,
    /// Complaints about the page: exceptions, console messages, violations of its policy.
    pub complaints: Vec<String>,
    /// Size of the answer to the last navigation, in bytes.
    pub received: u64,
    /// Loaders (one for each navigation) whose pages have loaded.
    loaded: BTreeSet<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts the browser.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        // The shell moves the pipes to the file descriptors that Chromium expects.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", "chromium", "--headless=new"]);
        command.args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
        command.args(["--no-first-run", "--disable-extensions", "--disable-background-networking", "--mute-audio"]);
        command.arg("--remote-debugging-pipe").arg(format!("--user-data-dir={}", profile.path().display()));
        // Temporary files are removed with the profile.
        command.env("TMPDIR", profile.path());
        let child = command.arg("about:blank").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("sh is there");
        let requests = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut browser = Self {
            child,
            requests,
            answers,
            last: 0,
            session: String::new(),
            complaints: Vec::new(),
            received: 0,
            loaded: BTreeSet::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &attach);
        attached["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.call("Page.setLifecycleEventsEnabled", &json!({ "enabled": true }));
        browser
    }

    /// Calls a method and returns its result.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method; returns its result, or its error.
    fn try_call(&mut self, method: &str, parameters: &Value) -> Result<Value, Value> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let sent = self.requests.write_all(format!("{message}\0").as_bytes()).and_then(|()| self.requests.flush());
        sent.expect("this test needs a browser: install the package chromium");
        let wanted = self.last;
        loop {
            let message = self.message();
            if message["id"] == wanted {
                let error = &message["error"];
                return if error.is_null() { Ok(message["result"].clone()) } else { Err(error.clone()) };
            }
        }
    }

    /// The next message. Complaints are collected.
    fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).expect("the browser speaks");
        assert!(bytes.pop() == Some(0), "the browser has ended: is the package chromium installed, and whole?");
        let message: Value = serde_json::from_slice(&bytes).expect("JSON");
        let about = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => self.complaints.push(about["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" => self.complaints.push(about["args"].to_string()),
            "Log.entryAdded" => self.complaints.push(about["entry"].to_string()),
            "Page.javascriptDialogOpening" => self.complaints.push(format!("a dialog: {about}")),
            "Page.lifecycleEvent" if about["name"] == "load" => {
                self.loaded.extend(about["loaderId"].as_str().map(str::to_owned));
            }
            "Network.loadingFinished" => self.received += about["encodedDataLength"].as_f64().unwrap_or(0.0) as u64,
            _ => {}
        }
        message
    }

    /// Opens a page and waits until it has loaded.
    pub fn open(&mut self, url: &str) {
        self.received = 0;
        let gone = self.call("Page.navigate", &json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        // Waits for this navigation: the previous page may finish loading only now.
        let loader = gone["loaderId"].as_str().unwrap_or_default().to_owned();
        while !loader.is_empty() && !self.loaded.contains(&loader) {
            self.message();
        }
    }

    /// Evaluates an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let about = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let outcome = match self.try_call("Runtime.evaluate", &about) {
            // The page is being left, perhaps because of the expression, so there is no value.
            Err(error) if error["message"].as_str().is_some_and(|text| text.contains("navigated")) => {
                return Value::Null;
            }
            outcome => outcome.unwrap_or_else(|error| panic!("{expression}: {error}")),
        };
        assert!(outcome["exceptionDetails"].is_null(), "{expression}: {}", outcome["exceptionDetails"]);
        outcome["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true.
    pub fn wait_for(&mut self, expression: &str) {
        let began = Instant::now();
        // During a navigation there is no page to evaluate it in.
        let test = format!("(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()");
        while self.evaluate(&test) != true {
            assert!(began.elapsed() < PATIENCE, "{expression} does not become true: {}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The visible text of the page.
    pub fn text(&mut self) -> String {
        self.evaluate("document.querySelector('main')?.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Sets the window size in CSS pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let about = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &about);
    }

    /// Sets the colour scheme, light or dark.
    pub fn scheme(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Allows or forbids scripts in pages.
    pub fn scripts(&mut self, allowed: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({ "value": !allowed }));
    }

    /// Presses and releases a key.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let about = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", &about);
        }
    }

    /// Saves a screenshot as PNG: the whole page, or the visible part.
    pub fn screenshot(&mut self, path: &Path, whole: bool) {
        let taken = self.call("Page.captureScreenshot", &json!({ "captureBeyondViewport": whole }));
        let picture = taken["data"].as_str().expect("a picture");
        std::fs::write(path, base64(picture)).expect("it is written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium also exits when the pipe is closed, but its profile would be removed before that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Decodes base64 (RFC 4648, section 4); the input is trusted.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text
        .bytes()
        .filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte))
        .map(|digit| digit as u32)
        .collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let bits = group.iter().enumerate().fold(0, |bits, (place, digit)| bits | digit << (18 - 6 * place));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}
