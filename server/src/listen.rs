//! The listening socket.

use std::io;

use tokio::net::{TcpListener, TcpSocket, lookup_host};

/// Connections that may wait to be accepted, as far as the system lets them (`net.core.somaxconn`). The library's
/// own 128 are gone with the first rush: the system then drops handshakes, and resets a minute later the
/// connections of clients that believe in them.
const BACKLOG: u32 = 4096;

/// Listens on the first of the host's addresses that can be.
///
/// # Errors
/// Why the last of them cannot.
pub async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in lookup_host((host, port)).await? {
        let listening = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A server that starts again does not wait for the connections of the one before.
            #[cfg(not(windows))]
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        match listening() {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_rush_of_clients_waits_to_be_accepted() {
        let listener = listen("localhost", 0).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut clients = Vec::new();
        for _ in 0..500 {
            clients.push(TcpStream::connect(address).await.expect("there is room in the queue"));
        }
        for _ in 0..clients.len() {
            listener.accept().await.expect("a whole connection");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error() {
        let first = listen("127.0.0.1", 0).await.expect("a free port");
        let port = first.local_addr().expect("an address").port();
        assert_eq!(listen("127.0.0.1", port).await.expect_err("in use").kind(), io::ErrorKind::AddrInUse);
    }
}
