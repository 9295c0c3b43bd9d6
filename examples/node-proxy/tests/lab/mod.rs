//! Pods in network namespaces, joined by a bridge, with node proxies that capture them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mesh_transport::capture::agent::{AgentSide, PodHandle, PodInfo};
use mesh_transport::socket::{NetNamespace, Sockets};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Says why a test does nothing, where the machine does not let it.
pub fn can_run() -> bool {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let root = rustix::process::geteuid().is_root();
    if root && has("nft") && Command::new("ip").arg("-V").output().is_ok() {
        return true;
    }
    // Not by a macro, whose output is kept from view while the test passes.
    std::io::Write::write_all(
        &mut std::io::stderr(),
        b"SKIPPED: network namespaces need root, and the programs ip and nft\n",
    )
    .unwrap();
    false
}

pub fn sh(line: &str) {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Namespaces of one test. Everything is taken away when it is dropped.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub number: u8,
    bridge: String,
    pods: Vec<String>,
    proxies: Vec<Proxy>,
    made: usize,
}

pub struct Proxy {
    pub name: String,
    child: Child,
    pub agent: AgentSide,
    pub admin: SocketAddr,
    pub log: PathBuf,
}

static NUMBER: AtomicU8 = AtomicU8::new(0);

impl Lab {
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bridge = format!("mesh{}b{number}", std::process::id());
        sh(&format!(
            "ip netns add {bridge}; ip -n {bridge} link set lo up; ip -n {bridge} link add br0 type bridge; ip -n {bridge} link set br0 up"
        ));
        Self { dir: tempfile::tempdir().unwrap(), number, bridge, pods: Vec::new(), proxies: Vec::new(), made: 0 }
    }

    pub fn ip(&self, host: u8) -> IpAddr {
        [10, 88, self.number, host].into()
    }

    pub fn ip6(&self, host: u8) -> IpAddr {
        [0xfd88, u16::from(self.number), 0, 0, 0, 0, 0, u16::from(host)].into()
    }

    /// A namespace with addresses of its own on the bridge.
    pub fn pod(&mut self, host: u8) -> NetNamespace {
        let (bridge, number) = (self.bridge.clone(), self.number);
        let name = format!("mesh{}p{number}x{host}", std::process::id());
        // A namespace may outlive its name while somebody holds it, and with it the other end of its cable.
        let peer = format!("p{}", self.made);
        self.made += 1;
        sh(&format!(
            "ip netns add {name}; ip -n {name} link set lo up
             ip link add {peer} netns {bridge} type veth peer name eth0 netns {name}
             ip -n {bridge} link set {peer} master br0 up; ip -n {name} link set eth0 up
             ip -n {name} addr add 10.88.{number}.{host}/24 dev eth0
             ip -n {name} addr add fd88:{number:x}::{host:x}/64 dev eth0 nodad
             ip -n {name} route add default via 10.88.{number}.254
             ip -n {name} -6 route add default via fd88:{number:x}::fe"
        ));
        let namespace = NetNamespace::open(Path::new(&format!("/run/netns/{name}"))).unwrap();
        self.pods.push(name);
        namespace
    }

    pub fn pod_name(&self, host: u8) -> String {
        format!("mesh{}p{}x{host}", std::process::id(), self.number)
    }

    /// Takes a pod's namespace away.
    pub fn remove_pod(&mut self, host: u8) {
        let name = self.pod_name(host);
        sh(&format!("ip netns del {name}"));
        self.pods.retain(|pod| *pod != name);
    }

    /// A node proxy without any pod yet.
    pub async fn proxy(&mut self, name: &str, mesh: &str, extra: &str) -> usize {
        let dir = self.dir.path();
        let (config, local, socket) =
            (dir.join(format!("{name}.yaml")), dir.join(format!("{name}-mesh.yaml")), dir.join(format!("{name}.sock")));
        let index = u8::try_from(self.proxies.len()).unwrap();
        let admin = SocketAddr::from(([127, 88, self.number, index + 1], 15000));
        std::fs::write(&local, mesh).unwrap();
        std::fs::write(
            &config,
            format!(
                "mode: shared\nnode: {name}\nlocal_file: {}\nlocal_authority: {}\nadmin: {admin}\ndrain_seconds: 1\n\
                 capture: {{agent_socket: {}, install_rules: true}}\n{extra}\n",
                local.display(),
                dir.join("authority").display(),
                socket.display()
            ),
        )
        .unwrap();
        let mut agent = AgentSide::listen(&socket).unwrap();
        let log = dir.join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_node-proxy"))
            .args(["--config", config.to_str().unwrap(), "--log-format", "json", "--log-level", "info,dns=debug"])
            .stderr(std::fs::File::create(&log).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::timeout(Duration::from_secs(20), agent.accept()).await.unwrap().unwrap();
        self.proxies.push(Proxy { name: name.to_owned(), child, agent, admin, log });
        self.proxies.len() - 1
    }

    /// Another process with the settings of a proxy, but for its admin endpoint.
    pub fn second(&self, proxy: usize) -> (Child, PathBuf) {
        let name = &self.proxies[proxy].name;
        let (config, log) =
            (self.dir.path().join(format!("{name}.yaml")), self.dir.path().join(format!("{name}-2.log")));
        let admin = format!("127.88.{}.99:15000", self.number);
        let child = Command::new(env!("CARGO_BIN_EXE_node-proxy"))
            .args(["--config", config.to_str().unwrap(), "--admin", &admin])
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        (child, log)
    }

    /// Tells a proxy of a pod whose record is in its mesh file.
    pub async fn enrol(&mut self, proxy: usize, name: &str, namespace: &NetNamespace) {
        let info = PodInfo { name: name.into(), namespace: "shop".into(), service_account: name.into() };
        let handle = PodHandle { info, namespace: namespace.clone() };
        self.proxies[proxy].agent.add(&format!("uid-{name}"), handle).await.unwrap();
    }

    pub async fn expel(&mut self, proxy: usize, name: &str) {
        self.proxies[proxy].agent.delete(&format!("uid-{name}")).await.unwrap();
    }

    pub fn log(&self, proxy: usize) -> String {
        std::fs::read_to_string(&self.proxies[proxy].log).unwrap()
    }

    pub fn get(&self, proxy: usize, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(self.proxies[proxy].admin).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub fn pid(&self, proxy: usize) -> u32 {
        self.proxies[proxy].child.id()
    }

    /// How many sockets listen at a port in a pod's namespace.
    pub fn listeners(&self, host: u8, port: u16) -> usize {
        let read = ["netns", "exec", &self.pod_name(host), "cat", "/proc/net/tcp", "/proc/net/tcp6"];
        let output = Command::new("ip").args(read).output().unwrap();
        let port = format!(":{port:04X}");
        let listens = |line: &&str| {
            let mut fields = line.split_whitespace().skip(1);
            // Local address, remote address, state: 0A is LISTEN.
            fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("0A")
        };
        String::from_utf8(output.stdout).unwrap().lines().filter(listens).count()
    }

    pub async fn accept_again(&mut self, proxy: usize) {
        self.proxies[proxy].agent.accept().await.unwrap();
    }

    /// The record of a workload at an address of the lab.
    pub fn workload(&self, name: &str, host: u8, more: &str) -> String {
        format!(
            "- {{uid: lab//v1/Pod/shop/{name}, name: {name}, namespace: shop, serviceAccount: {name}, trustDomain: cluster.local, \
             workloadIps: [\"{}\", \"{}\"], protocol: HBONE, workloadName: {name}, canonicalName: {name}, {more}}}\n",
            self.ip(host),
            self.ip6(host)
        )
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for proxy in &mut self.proxies {
            if std::thread::panicking() {
                eprintln!("--- {}\n{}", proxy.name, std::fs::read_to_string(&proxy.log).unwrap_or_default());
            }
            let _ = proxy.child.kill();
            let _ = proxy.child.wait();
        }
        for name in self.pods.iter().chain([&self.bridge]) {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// Waits for something that comes about by itself.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not come about: {what}");
}

pub fn sockets(namespace: &NetNamespace) -> Sockets {
    let mut sockets = Sockets::new();
    sockets.namespace = Some(namespace.clone());
    sockets
}

/// An application in a pod: says who its client is, then echoes.
pub fn application(namespace: &NetNamespace, address: SocketAddr) {
    let listener = sockets(namespace).listen(address).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, client) = listener.accept().await;
            tokio::spawn(async move {
                if stream.write_all(format!("{}\n", client.ip()).as_bytes()).await.is_ok() {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.shutdown().await;
                }
            });
        }
    });
}

/// Connects from a pod and gives the address that the application saw; an error when the connection does not come through.
pub async fn call(namespace: &NetNamespace, to: SocketAddr) -> Result<(String, TcpStream), String> {
    call_within(Duration::from_secs(8), namespace, to).await
}

pub async fn call_within(
    limit: Duration,
    namespace: &NetNamespace,
    to: SocketAddr,
) -> Result<(String, TcpStream), String> {
    let whole = async {
        let mut stream = sockets(namespace).connect(to).await.map_err(|error| error.to_string())?;
        let mut seen = String::new();
        loop {
            match stream.read_u8().await {
                Ok(b'\n') => break,
                Ok(byte) => seen.push(char::from(byte)),
                Err(error) => return Err(format!("closed: {error}")),
            }
        }
        stream.write_all(b"hello").await.map_err(|error| error.to_string())?;
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.map_err(|error| error.to_string())?;
        assert_eq!(&echo, b"hello");
        Ok((seen, stream))
    };
    tokio::time::timeout(limit, whole).await.map_err(|_| "timed out".to_owned())?
}
