//! Vocabulary and decisions of the mesh. No sockets, no TLS, no clock: everything here is a value or a pure function
//! over immutable snapshots, and can be called in a test without a runtime.
//!
//! A node proxy asks two questions per connection: *where does this go* and *may it*. Both are answered here:
//!
//! ```
//! use mesh_core::authz::{Action, Clause, Connection, Match, Policy, PolicyDelta, PolicySet, Rule, Scope, evaluate};
//! use mesh_core::catalog::{Catalog, Delta};
//! use mesh_core::name::{Network, ServiceAccount};
//! use mesh_core::resolve::{Destination, Hop, Outbound, outbound};
//! use mesh_core::string_match::StringMatch;
//! use mesh_core::workload::{TunnelProtocol, Workload};
//!
//! // What exists: a web workload and a database that speaks HBONE.
//! let web = Workload::new("c1//Pod/shop/web-1", "cluster.local".parse()?, "shop", "web-1")?;
//! let mut db = Workload::new("c1//Pod/shop/db-1", "cluster.local".parse()?, "shop", "db-1")?;
//! db.addresses = vec!["10.0.0.7".parse()?];
//! db.tunnel = TunnelProtocol::Hbone;
//! let mut delta = Delta::new();
//! delta.upsert_workload(web.clone());
//! delta.upsert_workload(db.clone());
//! let catalog = Catalog::default().apply(delta);
//!
//! // Where does it go? Into a tunnel to the database's node proxy, which must prove to be the database.
//! let destination: Destination = "10.0.0.7:5432".parse()?;
//! let here = Network::default();
//! let request = Outbound::new(&web, &here, &destination);
//! let way = outbound(&catalog, &request, 42)?;
//! let Hop::Hbone(tunnel) = &way.hop else { panic!("expected a tunnel") };
//! assert_eq!(tunnel.to, "10.0.0.7:15008".parse()?);
//! assert_eq!(tunnel.expected[0].to_string(), "spiffe://cluster.local/ns/shop/sa/default");
//!
//! // May it? Not when a policy denies this caller; and the verdict says which one.
//! let caller = StringMatch::parse("cluster.local/ns/shop/sa/default");
//! let entry = Match { principals: vec![caller], ..Match::default() };
//! let rules = vec![Rule { clauses: vec![Clause { matches: vec![entry] }] }];
//! let mut delta = PolicyDelta::new();
//! delta.upsert(Policy::new("shop/no-web".parse()?, Scope::Namespace, Action::Deny, rules));
//! let policies = PolicySet::default().apply(delta);
//! let peer = ServiceAccount::new("cluster.local".parse()?, "shop", "default")?.to_spiffe_id();
//! let connection = Connection { peer: Some(&peer), source: "10.0.0.1".parse()?, destination: "10.0.0.7:5432".parse()? };
//! let verdict = evaluate(&policies, &db, &connection);
//! assert_eq!(verdict.to_string(), "denied: a deny policy matches (shop/no-web)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rooms
//!
//! | room | holds |
//! | --- | --- |
//! | [`live`] | [`Live`](live::Live): an immutable value, loaded cheaply, published atomically, awaited |
//! | [`name`] | host names, namespaced names, networks, localities, SPIFFE ids, service accounts |
//! | [`report`] | errors as people read them |
//! | [`string_match`] | one matcher of strings for everything that matches strings |
//! | [`path`] | the one normal form of paths, and templates of paths |
//! | [`request`] | the head of a request, borrowed; the matchers of its headers and of what filters said of it |
//! | [`service`], [`workload`] | what exists: services and their ports; workloads, health, tunnels |
//! | [`catalog`] | the index of all that exists, and the application of a delta |
//! | [`resolve`] | destination to way, with the reason |
//! | [`limit`] | token buckets |
//! | [`authz`] | the L4 policy model, its evaluation, the explanation of a verdict; Envoy's model for both layers; policies on requests, compiled into it |
//! | [`route`] | route tables: request to cluster, redirect or refusal; rewrites, hashes, retries |
//! | [`authn`] | tokens: whose are believed, where they are, what they must say, what becomes of what they say |
//! | [`filter`] | what looks at requests on their way to a service, as tower layers |
//! | [`resilience`] | time limits, retries, hedging, copies: what sends requests on as their routes say |
//! | [`gateway`] | routes as people write them, and what they come to in a route table |
//! | [`companion`] | filters that ask an external authorizer or the rate limit service, and what an answer may change |
//! | [`listener`] | where connections enter, which chain of filters each gets, what the filters do |
//! | [`balance`] | clusters and their endpoints; which endpoint a request goes to |
//! | [`config`] | all that a proxy is told, as one whole: listeners with their routes, clusters with their endpoints |
//! | [`tls`] | how a connection is to be secured: certificates, whom to believe, what to offer |
//!
//! The rooms import each other in one direction only: `name` ← `service` ← `workload` ← `catalog` ← `resolve`; `name` ←
//! `string_match` ← `request` ← `authz` ← `route`; `name` ← `path` ← `authz`; `workload` ← `authz`; `string_match` ← `tls`;
//! `limit` ← `route` ← `gateway`; `route`, `tls` ← `balance`; `live`, `authz`, `balance` ← `filter` ← `authn`, `companion` ←
//! `listener`; `companion`, `limit` ← `resilience`; `balance`, `listener` ← `config`.

pub mod authn;
pub mod authz;
pub mod balance;
pub mod catalog;
pub mod companion;
pub mod config;
pub mod filter;
pub mod gateway;
pub mod limit;
pub mod listener;
pub mod live;
pub mod name;
pub mod path;
pub mod report;
pub mod request;
pub mod resilience;
pub mod resolve;
pub mod route;
pub mod service;
pub mod string_match;
pub mod tls;
pub mod workload;
