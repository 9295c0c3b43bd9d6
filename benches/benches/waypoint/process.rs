//! Processes of their own: where they run, and what they use.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Which processor is the proxies'; all others are for those who ask and answer. With one processor there is nothing to share
/// out.
pub(crate) const OF_PROXIES: usize = 0;

/// The processors of this machine that are not the proxies'.
pub(crate) fn others() -> Vec<usize> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let others: Vec<usize> = (0..all).filter(|one| *one != OF_PROXIES).collect();
    if others.is_empty() { vec![OF_PROXIES] } else { others }
}

/// Keeps this process, and all that it starts from now on, to these processors.
pub(crate) fn keep_to(processors: &[usize]) {
    let mut set = CpuSet::new();
    processors.iter().for_each(|one| set.set(*one));
    if let Err(error) = sched_setaffinity(None, &set) {
        println!("NOT PINNED: {error}; what follows is measured on whatever processor was free");
    }
}

/// A process that ends with this.
pub(crate) struct Process(Child);

impl Process {
    /// Starts this program on these processors.
    pub(crate) fn start(processors: &[usize], program: &OsStr, arguments: &[&OsStr]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let list: Vec<String> = processors.iter().map(ToString::to_string).collect();
        command.arg("--on").arg(list.join(",")).arg(program).args(arguments);
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Starts another role of this program.
    pub(crate) fn role(processors: &[usize], arguments: &[&str]) -> Self {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        Self::start(processors, std::env::current_exe().unwrap().as_os_str(), &arguments)
    }

    /// Time that it was at work, in all of its threads.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // The name of the program, in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        // In hundredths of a second, whatever the kernel counts in.
        Duration::from_millis(ticks * 10)
    }

    /// Memory that it has, in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Fails if it has ended.
    pub(crate) fn expect_alive(&mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "a process of the bench has ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `--on` starts: takes the place of this process.
pub(crate) fn become_pinned(arguments: &[String]) -> ! {
    let processors: Vec<usize> = arguments[0].split(',').map(|one| one.parse().unwrap()).collect();
    keep_to(&processors);
    let error = Command::new(&arguments[1]).args(&arguments[2..]).exec();
    panic!("{}: {error}", arguments[1]);
}
