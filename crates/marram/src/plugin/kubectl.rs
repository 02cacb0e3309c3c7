//! kubectl is asked: it knows the user's contexts, logins and rights.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::cli::Place;
use super::error::PluginError;

/// How long a forwarded port may take, in seconds.
const FORWARD_SECONDS: u64 = 20;

/// How kubectl is called.
pub(super) struct Kubectl {
    program: OsString,
    place: Vec<OsString>,
}

impl Kubectl {
    pub(super) fn new(place: &Place) -> Self {
        let mut said = Vec::new();
        let mut say = |flag: &str, value: Option<OsString>| {
            if let Some(value) = value {
                said.extend([OsString::from(flag), value]);
            }
        };
        say("--namespace", place.namespace.clone().map(Into::into));
        say("--context", place.context.clone().map(Into::into));
        say("--kubeconfig", place.kubeconfig.clone().map(Into::into));
        Self {
            program: std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into()),
            place: said,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.place).args(args);
        command
    }

    fn cannot_run(&self, error: std::io::Error) -> PluginError {
        PluginError::NoKubectl {
            program: self.program.to_string_lossy().into_owned(),
            error,
        }
    }

    /// What it prints. `input` is what it reads.
    pub(super) fn ask(&self, args: &[&str], input: Option<&str>) -> Result<String, PluginError> {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(match input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        });
        let mut child = command.spawn().map_err(|error| self.cannot_run(error))?;
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
            // One that does not read it says why on its standard error.
            drop(pipe.write_all(input.as_bytes()));
        }
        let ended = child.wait_with_output();
        let ended = ended.map_err(|error| self.cannot_run(error))?;
        if ended.status.success() {
            return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.trim().trim_start_matches("Error from server ");
        Err(PluginError::Kubectl {
            what: what(args),
            said: said.to_owned(),
        })
    }

    /// What it prints, which is JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T, PluginError> {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        let said = self.ask(&args, None)?;
        serde_json::from_str(&said).map_err(|error| PluginError::Answer {
            what: what(&args),
            problem: error.to_string(),
        })
    }

    /// Lets it print by itself; says how it ended.
    pub(super) fn attached(&self, args: &[&str]) -> Result<ExitCode, PluginError> {
        let ended = self.command(args).status();
        let ended = ended.map_err(|error| self.cannot_run(error))?;
        let code = ended.code().and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(code.unwrap_or(1)))
    }

    /// Forwards a free port of this machine to a port of a pod.
    pub(super) fn forward(&self, pod: &str, port: u16) -> Result<Forward, PluginError> {
        let (pod_port, target) = (format!(":{port}"), format!("pod/{pod}"));
        let mut command = self.command(&["port-forward", "--address", "127.0.0.1"]);
        command.args([&target, &pod_port]);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.cannot_run(error))?;
        let out = child.stdout.take().expect("it is piped");
        let mut err = child.stderr.take().expect("it is piped");
        let (tell, heard) = mpsc::channel();
        // Both read on until the process ends, so that it never waits for a reader.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // Nobody waits for a second one.
                if let Some(port) = forwarded(&line)
                    && tell.send(port).is_err()
                {
                    tracing::debug!(port, "forwarded once more");
                }
            }
        });
        let (tell_error, said) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            drop(err.read_to_string(&mut text));
            // Where the port came, nobody listens.
            drop(tell_error.send(text));
        });
        let patience = Duration::from_secs(FORWARD_SECONDS);
        let mut forward = Forward { child, port: 0 };
        if let Ok(port) = heard.recv_timeout(patience) {
            forward.port = port;
            return Ok(forward);
        }
        // Its end closes what it says.
        drop(forward);
        let said = said.recv_timeout(patience).unwrap_or_default();
        Err(PluginError::NoTunnel {
            pod: pod.to_owned(),
            seconds: FORWARD_SECONDS,
            said: said.trim().to_owned(),
        })
    }
}

fn what(args: &[&str]) -> String {
    args.iter().take(3).copied().collect::<Vec<_>>().join(" ")
}

/// The port in `Forwarding from 127.0.0.1:40001 -> 7070`.
fn forwarded(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("Forwarding from 127.0.0.1:")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A port that is forwarded until this is dropped.
pub(super) struct Forward {
    child: Child,
    pub(super) port: u16,
}

impl Drop for Forward {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and that is well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_what_kubectl_says() {
        let said = "Forwarding from 127.0.0.1:40001 -> 7070";
        assert_eq!(forwarded(said), Some(40001));
        assert_eq!(forwarded("Forwarding from [::1]:40001 -> 7070"), None);
        assert_eq!(forwarded("Handling connection for 40001"), None);
    }
}
