// rustc resolve.rs && ./resolve MODEL_ID: print where a runtime may load a model from now.
// Exits 1, with the reason, when it may not. Needs no crate; a program of yours would parse the line with serde_json.
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::{env, process, time::Duration};

fn ask(model_id: &str) -> std::io::Result<String> {
    let folder = || env::var("XDG_RUNTIME_DIR").unwrap_or_else(|_| env::var("HOME").unwrap_or_default() + "/.local/state");
    let path = env::var("PUMAS_AGENT_SOCKET").unwrap_or_else(|_| folder() + "/pumas-agent/agent.sock");
    let mut socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let params = format!(r#"{{"model_id":"{model_id}","expected_execution_contract_version":1}}"#);
    writeln!(socket, r#"{{"jsonrpc":"2.0","id":1,"method":"resolve_model_execution_descriptor","params":{params}}}"#)?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line)?;
    Ok(line)
}

fn text<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(&format!("\"{key}\":\""))?.1.split_once("\",").map(|(value, _)| value)
}

fn main() {
    let model_id = env::args().nth(1).expect("a model id");
    let line = ask(&model_id).unwrap_or_else(|error| { eprintln!("{error}"); process::exit(1) });
    if !line.contains("\"result\":{") {
        eprintln!("{}", text(&line, "message").unwrap_or(&line));
        process::exit(1);
    }
    println!("{}", text(&line, "entry_path").unwrap_or_default());
}
