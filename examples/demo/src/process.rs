//! The processes of the demo: starting, killing, ending, starting again.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::Error;
use crate::scene::{Node, SOCKS_PORT, Scene, Who};

/// A part to be played by a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The control plane.
    ControlPlane,
    /// A node proxy.
    NodeProxy(Node),
    /// A server.
    Workload(Who),
}

impl Part {
    const ALL: [Self; 5] = [
        Self::ControlPlane,
        Self::NodeProxy(Node::A),
        Self::NodeProxy(Node::B),
        Self::Workload(Who::Catalog),
        Self::Workload(Who::Checkout),
    ];

    /// Name of the process, and of its log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::NodeProxy(node) => node.name(),
            Self::Workload(who) => who.name(),
        }
    }
}

/// All processes, running or not.
#[derive(Debug)]
pub(crate) struct Cast {
    arguments: Vec<(Part, Vec<String>, PathBuf)>,
    running: Vec<(Part, Child)>,
}

impl Cast {
    /// Writes the settings and starts everybody.
    pub(crate) fn start(scene: &Scene) -> Result<Self, Error> {
        let mut cast = Self { arguments: Vec::new(), running: Vec::new() };
        for part in Part::ALL {
            cast.arguments.push((part, arguments(scene, part)?, scene.log(part.name())));
        }
        // The tokens by which the nodes prove who they are; made by the control plane's own command.
        for node in [Node::A, Node::B] {
            let made = std::process::Command::new(std::env::current_exe()?)
                .args(["control-plane", "token", node.name(), "--out"])
                .arg(scene.dir.join("tokens").join(node.name()))
                .stdin(Stdio::null())
                .output()?;
            if !made.status.success() {
                return Err(format!("no token for {}: {}", node.name(), String::from_utf8_lossy(&made.stderr)).into());
            }
        }
        for part in Part::ALL {
            cast.run(part)?;
        }
        Ok(cast)
    }

    /// Starts a part that is not running.
    pub(crate) fn run(&mut self, part: Part) -> Result<(), Error> {
        let Some((_, arguments, log)) = self.arguments.iter().find(|(known, ..)| *known == part) else {
            return Err(format!("{} has no arguments", part.name()).into());
        };
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.running.push((part, child));
        Ok(())
    }

    /// Kills a part at once, as `kill -9` or a lost machine does.
    pub(crate) async fn kill(&mut self, part: Part) -> Result<(), Error> {
        let index = self.running.iter().position(|(known, _)| *known == part);
        let (_, mut child) = self.running.remove(index.ok_or_else(|| format!("{} is not running", part.name()))?);
        child.kill().await?;
        Ok(())
    }

    /// Parts that ended by themselves since the last call.
    pub(crate) fn lost(&mut self) -> Vec<Part> {
        let mut lost = Vec::new();
        self.running.retain_mut(|(part, child)| {
            let alive = matches!(child.try_wait(), Ok(None));
            if !alive {
                lost.push(*part);
            }
            alive
        });
        lost
    }

    /// Process ids, for a person who wants to kill one.
    pub(crate) fn pids(&self) -> Vec<(&'static str, u32)> {
        self.running.iter().filter_map(|(part, child)| Some((part.name(), child.id()?))).collect()
    }

    /// Ends everybody: politely first.
    pub(crate) async fn stop(&mut self) {
        for (_, child) in &self.running {
            let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        for (_, child) in &mut self.running {
            if tokio::time::timeout(Duration::from_secs(7), child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
        self.running.clear();
    }
}

/// Ends this process when the demo that started it is gone.
pub(crate) fn die_with_parent() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

fn arguments(scene: &Scene, part: Part) -> Result<Vec<String>, Error> {
    let role = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    Ok(match part {
        Part::ControlPlane => {
            let path = scene.settings("control-plane.yaml", &control_plane_settings(scene))?;
            role(&["control-plane", "serve", "--config", &path.to_string_lossy()])
        }
        Part::NodeProxy(node) => {
            let path = scene.settings(&format!("{}.yaml", node.name()), &node_settings(scene, node))?;
            role(&["node-proxy", "--config", &path.to_string_lossy()])
        }
        Part::Workload(who) => {
            let kind = if who == Who::Checkout { "grpc" } else { "http" };
            role(&["workload", kind, "--listen", &scene.application(who).to_string(), "--name", who.name()])
        }
    })
}

fn control_plane_settings(scene: &Scene) -> String {
    let dir = scene.dir.display();
    let ttl = scene.svid_ttl.as_secs();
    format!(
        "trust_domain: cluster.local\n\
         sources: {{directory: {dir}/manifests, poll_interval_ms: 100}}\n\
         authority: {{dir: {dir}/authority, svid_ttl_seconds: {ttl}, min_svid_ttl_seconds: 5}}\n\
         listen: {listen}\n\
         admin: {admin}\n\
         nodes:\n\
         - {{name: node-a, token_file: {dir}/tokens/node-a}}\n\
         - {{name: node-b, token_file: {dir}/tokens/node-b}}\n\
         log: {{format: json, level: info}}\n",
        listen = scene.control_plane(),
        admin = scene.control_plane_admin(),
    )
}

fn node_settings(scene: &Scene, node: Node) -> String {
    let dir = scene.dir.display();
    let name = node.name();
    format!(
        "node: {name}\n\
         trust_domain: cluster.local\n\
         control_plane: {control_plane}\n\
         trust_bundle: {dir}/authority/root-cert.pem\n\
         token_file: {dir}/tokens/{name}\n\
         state_dir: {dir}/{name}\n\
         admin: {admin}\n\
         socks5_port: {SOCKS_PORT}\n\
         svid_ttl_seconds: {ttl}\n\
         log: {{format: json, level: info}}\n",
        control_plane = scene.control_plane(),
        admin = scene.node_admin(node),
        ttl = scene.svid_ttl.as_secs(),
    )
}
