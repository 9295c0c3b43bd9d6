//! Against a real API server. `tests/interop/kubernetes/run` says how to start it.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mesh_control_plane::resource::{Kind, ObjectId};
use mesh_control_plane::source::Said;
use mesh_control_plane::source::kubernetes::{
    Access, Api, COLLECTIONS, Candidate, Desired, Kubernetes, Leadership, Terms,
};
use mesh_control_plane::webhook::{Place, Schema, Webhook, configuration};
use mesh_core::live::Publisher;
use mesh_core::name::{NamespacedName, parse_spiffe_id, parse_trust_domain};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::serve::Incoming;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::task::Tasks;
use serde_json::json;
use tokio::time::Instant;

use super::fake::until;

const TERMS: Terms =
    Terms { lease: Duration::from_secs(4), renew: Duration::from_secs(3), retry: Duration::from_millis(500) };

const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: open, namespace: shop}
spec: {action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}
";

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec: {parentRefs: [{name: gate}], rules: [{backendRefs: [{name: web, port: 80}]}]}
";

fn service(name: &str) -> String {
    let metadata = format!("metadata: {{name: {name}, namespace: shop}}");
    format!("apiVersion: v1\nkind: Service\n{metadata}\nspec: {{ports: [{{port: 80}}]}}\n")
}

/// What the row sets; without it, there is nothing to test against.
struct Cluster {
    kubeconfig: PathBuf,
    /// Runs the API server until it is killed.
    start: PathBuf,
    /// CustomResourceDefinitions of Istio and of the Gateway API.
    istio: PathBuf,
    gateway: PathBuf,
    child: Option<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cluster {
    fn given() -> Option<Self> {
        let path = |name: &str| std::env::var(name).ok().map(PathBuf::from);
        Some(Self {
            kubeconfig: path("MESH_KUBECONFIG")?,
            start: path("MESH_KUBE_START")?,
            istio: path("MESH_ISTIO_CRDS")?,
            gateway: path("MESH_GATEWAY_CRDS")?,
            child: None,
        })
    }

    async fn run(&mut self) {
        self.child = Some(Command::new(&self.start).stdin(Stdio::null()).spawn().unwrap());
        until("the API server is ready", || self.kubectl(&["get", "--raw", "/readyz"], "").0).await;
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Whether it succeeds, and what it says.
    fn kubectl(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn apply(&self, yaml: &str) {
        let (good, text) = self.kubectl(&["apply", "-f", "-"], yaml);
        assert!(good, "{text}");
    }

    async fn api(&self) -> Api {
        let access = Access { kubeconfig: Some(self.kubeconfig.clone()), ..Access::default() };
        Api::open(&access).await.unwrap()
    }

    /// A candidate in a process of its own.
    fn candidate(&self, identity: &str) -> Replica {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "real::replica", "--nocapture", "--ignored"]);
        command.env("MESH_REPLICA", identity).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, leads) = Publisher::new(false);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                match line.as_str() {
                    "leads" => sender.publish(true),
                    "follows" => sender.publish(false),
                    _ => {}
                }
            }
        });
        Replica { child, leads }
    }
}

struct Replica {
    child: Child,
    leads: mesh_core::live::Live<bool>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn candidate(cluster: &Cluster, identity: &str) -> (Candidate, Leadership) {
    let clock = Arc::new(SystemClock);
    Candidate::new(cluster.api().await, "istio-system", "mesh-status", identity.to_owned(), TERMS, clock).unwrap()
}

/// Not a test of itself: what [`Cluster::candidate`] starts.
#[tokio::test]
#[ignore = "started by the test of leaders"]
async fn replica() {
    let (Some(cluster), Ok(identity)) = (Cluster::given(), std::env::var("MESH_REPLICA")) else { return };
    let (candidate, leads) = candidate(&cluster, &identity).await;
    let tasks = Tasks::default();
    tasks.spawn(candidate.run(std::future::pending()));
    let mut before = None;
    loop {
        let held = leads.is_held();
        if before != Some(held) {
            println!("{}", if held { "leads" } else { "follows" });
            before = Some(held);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_api_server() {
    let Some(mut cluster) = Cluster::given() else {
        println!("SKIPPED: no API server is given; see tests/interop/kubernetes");
        return;
    };
    let tasks = Tasks::default();
    let (publisher, said) = Publisher::new(Said::default());
    let source = Kubernetes::new("cluster", cluster.api().await, Vec::new());
    let (reading, more) = (source.clone(), tasks.clone());
    tasks.spawn(async move { reading.run(&more, &publisher).await });
    until("it is told that nobody is there", || !said.load().findings.is_empty()).await;
    assert!(said.load().revision.is_empty(), "not ready");

    cluster.run().await;
    until("all is read", || !said.load().revision.is_empty() && said.load().findings.is_empty()).await;
    println!("ok    the source waits for an API server that comes, and is ready without any CRD");

    let (good, text) = cluster.kubectl(&["apply", "--server-side", "-f", cluster.istio.to_str().unwrap()], "");
    assert!(good, "{text}");
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}");
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}");
    until("the CRD is established", || cluster.kubectl(&["apply", "-f", "-"], POLICY).0).await;
    let policy = NamespacedName::new("shop", "open");
    until("the policy is seen", || said.load().world.policies.get(&policy).is_some()).await;
    println!("ok    a kind that is installed later is picked up");

    let mut slowest = Duration::ZERO;
    for number in 0..10 {
        cluster.apply(&service(&format!("s{number}")));
        let began = Instant::now();
        let name = NamespacedName::new("shop", format!("s{number}").as_str());
        until("it is seen", || said.load().world.services.get(&name).is_some()).await;
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    println!("ok    objects are seen at once: {slowest:?} after kubectl returned, at most");

    // Statuses, by the one that leads.
    let (good, text) = cluster.kubectl(&["apply", "--server-side", "-f", cluster.gateway.to_str().unwrap()], "");
    assert!(good, "{text}");
    until("the CRD is established", || cluster.kubectl(&["apply", "-f", "-"], ROUTE).0).await;
    let (candidate, leadership) = candidate(&cluster, "here").await;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let standing = Tasks::default();
    standing.spawn(candidate.run(async move {
        let _ = ended.await;
    }));
    let id = ObjectId { kind: Kind::HttpRoute, name: NamespacedName::new("shop", "web") };
    let condition = json!({
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "by the test", "observedGeneration": 1,
    });
    let status = json!({"parents": [{"parentRef": {"name": "gate"}, "conditions": [condition]}]});
    let (desired, wanted) = Publisher::new(Desired::new());
    let writer = source.status_writer("mesh.example/controller", leadership.clone(), Arc::new(SystemClock));
    tasks.spawn(writer.run(wanted));
    desired.publish([(id, status)].into());
    let get = || cluster.kubectl(&["get", "httproute", "web", "-n", "shop", "-o", "yaml"], "").1;
    until("kubectl shows the status", || get().contains("message: by the test")).await;
    assert!(get().contains("controllerName: mesh.example/controller"), "{}", get());
    println!("ok    a status is written by the leader, taken by the CRD's schema, and shown by kubectl get -o yaml");

    // Leaders.
    end.send(()).unwrap();
    standing.wait().await;
    let first = cluster.candidate("first");
    let began = Instant::now();
    until("the first leads", || *first.leads.load()).await;
    println!("ok    a leader that ends gives its Lease back: the next one leads after {:?}", began.elapsed());
    let second = cluster.candidate("second");
    tokio::time::sleep(TERMS.lease + Duration::from_secs(1)).await;
    assert!(*first.leads.load() && !*second.leads.load());
    let mut first = first;
    first.child.kill().unwrap();
    let began = Instant::now();
    until("the second leads", || *second.leads.load()).await;
    assert!(began.elapsed() > TERMS.renew, "not before the Lease ended: {:?}", began.elapsed());
    println!("ok    a leader that is killed is followed by another one after {:?}", began.elapsed());

    deployed(&cluster);
    webhook(&cluster, &tasks).await;

    // Gone, and back. Kinds of which older CustomResourceDefinitions are installed are told of all the time.
    let usual = said.load().findings.clone();
    cluster.kill();
    until("it is told", || said.load().findings != usual).await;
    assert!(said.load().world.policies.get(&policy).is_some());
    cluster.run().await;
    cluster.apply(&service("late"));
    let late = NamespacedName::new("shop", "late");
    until("what came since is seen", || said.load().world.services.get(&late).is_some()).await;
    // Each kind tries again after a pause of its own.
    let back = async {
        while said.load().findings != usual {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), back).await.expect("nothing else is wrong any more");
    println!("ok    an API server that is killed and comes back costs nothing that was known");
    tasks.cancel();
}

/// The manifests by which it is deployed are good, and let it do what it does and no more.
fn deployed(cluster: &Cluster) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for name in ["rbac.yaml", "control-plane.yaml"] {
        let path = directory.join(name);
        let (good, text) = cluster.kubectl(&["apply", "--dry-run=client", "-f", path.to_str().unwrap()], "");
        assert!(good, "{text}");
        let (good, text) = cluster.kubectl(&["apply", "-f", path.to_str().unwrap()], "");
        assert!(good && !text.contains("Warning"), "{text}");
    }
    let may = |verb: &str, what: &str, namespace: &str| {
        let account = "--as=system:serviceaccount:istio-system:control-plane";
        cluster.kubectl(&["auth", "can-i", verb, what, account, "-n", namespace], "").0
    };
    for collection in COLLECTIONS {
        let name = collection.full_name();
        // Of what is not installed kubectl does not know the group.
        if !cluster.kubectl(&["get", &name, "-n", "shop"], "").0 {
            continue;
        }
        for verb in ["list", "watch"] {
            assert!(may(verb, &name, "shop"), "{verb} {name}");
        }
        if collection.has_status {
            let account = "--as=system:serviceaccount:istio-system:control-plane";
            let arguments = ["auth", "can-i", "patch", &name, "--subresource=status", account];
            assert!(cluster.kubectl(&arguments, "").0, "patch {name}/status");
            assert!(!may("patch", &name, "shop") && !may("delete", &name, "shop"), "{name}");
        }
    }
    assert!(may("create", "tokenreviews.authentication.k8s.io", ""));
    assert!(may("create", "leases.coordination.k8s.io", "istio-system"));
    assert!(may("update", "leases.coordination.k8s.io/mesh-status", "istio-system"));
    assert!(!may("update", "leases.coordination.k8s.io/another", "istio-system"));
    assert!(!may("create", "pods", "shop"));
    println!("ok    the manifests of deploy/ are good, and give what is needed and no more");
}

async fn webhook(cluster: &Cluster, tasks: &Tasks) {
    let dir = tempfile::tempdir().unwrap();
    let domain = parse_trust_domain("td.test").unwrap();
    let clock = Arc::new(SystemClock);
    let authority = Arc::new(Authority::open(dir.path(), domain, Rules::default(), clock).unwrap());
    let bundles = BundleSet::default().with(authority.bundle());
    let names = Names { dns: vec!["localhost".to_owned()], ips: vec!["127.0.0.1".parse().unwrap()] };
    let own = LocalSource::new(authority, Duration::from_secs(3600), names);
    let identities = Identities::builder(Arc::new(own), bundles).build();
    let id = parse_spiffe_id("spiffe://td.test/ns/istio-system/sa/control-plane").unwrap();
    let identity = identities.identity(&id).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::Url(format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port()));
    let tls = identity.server_config_without_client_certificates(&[b"h2", b"http/1.1"]).unwrap();
    let incoming = Incoming::new(listener, tls, &identity);
    tasks.spawn(Webhook::new(Arc::new(Schema)).serve(incoming, tasks.clone()));
    let roots = std::fs::read(dir.path().join("root-cert.pem")).unwrap();
    cluster.apply(&configuration("mesh", &place, &roots, false));

    // Good by the CRD's schema: it takes any text for a namespace's name, and any value for a key.
    let bad =
        POLICY.replace("principals: [cluster.local/ns/shop/sa/web]", "ipBlocks: [nonsense]").replace("open", "bad");
    until("the webhook is asked", || !cluster.kubectl(&["apply", "-f", "-"], &bad).0).await;
    let (_, text) = cluster.kubectl(&["apply", "-f", "-"], &bad);
    assert!(text.contains("validation.mesh.example") && text.contains("nonsense"), "{text}");
    cluster.apply(&POLICY.replace("open", "good"));
    let (good, text) = cluster.kubectl(&["apply", "--dry-run=server", "-f", "-"], &POLICY.replace("open", "tried"));
    assert!(good, "{text}");
    println!("ok    kubectl apply of a bad object is refused: {}", text_line(&bad, cluster));
    let (good, text) = cluster.kubectl(&["delete", "validatingwebhookconfiguration", "mesh"], "");
    assert!(good, "{text}");
}

fn text_line(bad: &str, cluster: &Cluster) -> String {
    let (_, text) = cluster.kubectl(&["apply", "-f", "-"], bad);
    text.lines().last().unwrap_or_default().to_owned()
}
