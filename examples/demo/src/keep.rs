//! `--keep`: leave everything running, say what to try, and start again what is killed.

use std::time::Duration;

use crate::Error;
use crate::process::Cast;
use crate::report::line;
use crate::scene::{CATALOG_VIP, Node, Scene, Who};

/// Supervises until Ctrl-C.
pub(crate) async fn keep(scene: &Scene, cast: &mut Cast) -> Result<(), Error> {
    explain(scene, cast);
    let mut check = tokio::time::interval(Duration::from_millis(300));
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = check.tick() => {}
        }
        for part in cast.lost() {
            line(&format!("{} ended; starting it again", part.name()));
            cast.run(part)?;
        }
    }
}

fn explain(scene: &Scene, cast: &Cast) {
    let (frontend, batch) = (scene.socks(Who::Frontend), scene.socks(Who::Batch));
    line(&format!(
        "\nEverything is left running. Try, in another terminal:\n\n\
         as the frontend, by host name and by VIP:\n  \
         curl --proxy socks5h://{frontend} http://catalog.shop.svc.cluster.local/\n  \
         curl --proxy socks5h://{frontend} http://{CATALOG_VIP}/\n\
         as the batch job, which is refused:\n  \
         curl --proxy socks5h://{batch} http://catalog.shop.svc.cluster.local/\n\
         look at the HBONE port of the catalog (TLS 1.3, ALPN h2, a certificate is demanded):\n  \
         openssl s_client -connect {}:15008 -alpn h2 </dev/null\n\
         edit the policies, and watch open connections:\n  \
         {}\n\
         admin endpoints:\n  \
         curl http://{}/            control plane\n  \
         curl http://{}/          node a\n  \
         curl http://{}/          node b\n\
         logs and state:\n  {}\n\
         processes, to be killed at will (each is started again):",
        scene.ip(Who::Catalog),
        scene.manifest("policies.yaml").display(),
        scene.control_plane_admin(),
        scene.node_admin(Node::A),
        scene.node_admin(Node::B),
        scene.dir.display(),
    ));
    for (name, pid) in cast.pids() {
        line(&format!("  kill -9 {pid:<8} {name}"));
    }
    line("\nCtrl-C ends the demo.");
}
