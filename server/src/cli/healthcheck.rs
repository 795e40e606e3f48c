//! `healthcheck`: one `GET /ready` of the configured server, for containers and scripts.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use kalamdb_commons::settings::ServerSettings;

/// For connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A status line is shorter.
const MAX_ANSWER_BYTES: u64 = 4 << 10;

/// Whether the server is ready, or why not.
pub(super) fn run(settings: &ServerSettings) -> Result<(), String> {
    let host = reachable(&settings.host);
    let address = format!("{host} port {}", settings.port);
    let answer =
        ask(&host, settings.port).map_err(|error| format!("the server at {address} does not answer: {error}"))?;
    match answer.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        Some(status) => Err(format!("the server at {address} is not ready (HTTP status {status})")),
        None => Err(format!("what listens at {address} does not speak HTTP")),
    }
}

/// A server that listens on every address is asked on loopback.
fn reachable(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        _ => host.to_owned(),
    }
}

fn ask(host: &str, port: u16) -> std::io::Result<String> {
    let mut last_error = std::io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => stream,
            Err(error) => {
                last_error = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request = format!("GET /ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        return Ok(String::from_utf8_lossy(&answer).into_owned());
    }
    Err(last_error)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn check_against(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a whole request");
                asked.extend_from_slice(&byte);
            }
            assert!(asked.starts_with(b"GET /ready HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).expect("an open connection");
        });
        let checked = run(&ServerSettings { host: "0.0.0.0".to_owned(), port, ..ServerSettings::default() });
        server.join().expect("no panic");
        checked
    }

    #[test]
    fn only_200_is_ready() {
        assert_eq!(check_against("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), Ok(()));
        assert!(check_against("HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err_and(|why| why.contains("503")));
        assert!(check_against("").is_err_and(|why| why.contains("HTTP")));
        // Bound, so that nobody else takes it, and never listening.
        let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
        taken.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let nobody = ServerSettings { port: taken.local_addr().expect("it").port(), ..ServerSettings::default() };
        assert!(run(&nobody).is_err_and(|why| why.contains("does not answer")));
    }
}
