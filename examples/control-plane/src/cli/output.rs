//! What commands that show something share: in which form, and from which control plane.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use mesh_host::member::Error;
use serde_json::Value;

use super::print;
use super::table::Table;

/// Longest time for a connection, and for each piece of an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer that is read, in bytes. That of 100,000 workloads has about 200 MB.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024 * 1024;

/// In which form something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A table, for people.
    Table,
    /// JSON, for machines.
    Json,
}

/// Shows a value in a form.
pub(super) fn show(format: Format, value: &Value, table: impl FnOnce(&Value) -> Table) {
    match format {
        Format::Table => print(&table(value).to_string()),
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default())),
    }
}

/// Which control plane is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// Admin endpoint of the control plane: host:port, or http://host:port.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:15014",
        env = "CONTROL_PLANE_ADMIN",
        value_parser = address
    )]
    address: SocketAddr,
}

/// An address, as people write it: with the host by address or name, alone or as a URL.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if bare.contains("://") {
        return Err("the admin endpoint speaks http, without TLS".to_owned());
    }
    let mut found = bare.to_socket_addrs().map_err(|error| format!("write host:port: {error}"))?;
    found.next().ok_or_else(|| "the host has no address".to_owned())
}

impl Asked {
    /// That one.
    pub(super) const fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    /// A page of the admin endpoint, with parameters.
    pub(super) fn get(&self, path: &str, parameters: &[(&str, Option<&str>)]) -> Result<Value, Error> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in parameters {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        let path = format!("{path}?{}", query.finish());
        let text = self.fetch(&path).map_err(|error| format!("admin endpoint {}: {error}", self.address))?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("the admin endpoint does not speak HTTP")?;
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            return Err(format!("admin endpoint {}: {status}: is it that of a control plane?", self.address).into());
        }
        let value: Value = serde_json::from_str(body).map_err(|error| format!("the answer is no JSON: {error}"))?;
        match value.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned().into()),
            None => Ok(value),
        }
    }

    fn fetch(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // In this version, the end of the answer is that of the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address)?;
        let mut text = String::new();
        stream.take(MAX_ANSWER_BYTES).read_to_string(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        let good: SocketAddr = "127.0.0.1:15014".parse().unwrap();
        for text in ["127.0.0.1:15014", "http://127.0.0.1:15014", "http://127.0.0.1:15014/"] {
            assert_eq!(address(text), Ok(good), "{text}");
        }
        assert_eq!(address("[::1]:15014"), Ok("[::1]:15014".parse().unwrap()));
        assert!(address("localhost:15014").unwrap().ip().is_loopback());
        for (text, told) in [("127.0.0.1", "host:port"), ("", "host:port"), ("https://127.0.0.1:15014", "http")] {
            assert!(address(text).unwrap_err().contains(told), "{text}");
        }
    }
}
