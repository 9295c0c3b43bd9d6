use crate::resource::Gateway;
use crate::resource::WAYPOINT_CLASS;
use crate::world::Lookup;

/// The name that Istio's controller of Gateways has, and ours where nothing else is said.
const ISTIO: &str = "istio.io/gateway-controller";

/// Classes that need no GatewayClass: their names, those of the controllers that Istio has for them, and what their Gateways are.
const KNOWN: [(&str, &str, Role); 4] = [
    ("istio", ISTIO, Role::Gateway),
    (WAYPOINT_CLASS, "istio.io/mesh-controller", Role::Waypoint),
    ("istio-east-west", "istio.io/eastwest-controller", Role::EastWest),
    ("istio-remote", "istio.io/unmanaged-gateway", Role::Remote),
];

/// Which GatewayClasses are ours.
///
/// Those that name us as `controllerName`; of Istio's own class names also those without a GatewayClass, or with one that
/// names nobody. Under Istio's name, which is the default, the names of Istio's further controllers are ours too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    name: String,
}

/// What a Gateway of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// One through which traffic enters the mesh.
    Gateway,
    /// A waypoint.
    Waypoint,
    /// One through which traffic of other networks of the mesh enters.
    EastWest,
    /// A gateway of another network, which is somebody else's. Only its addresses count.
    Remote,
}

impl Controller {
    /// The controller of a name, `domain/path`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// The name, as in `controllerName` of statuses.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a GatewayClass that names a controller is ours.
    #[must_use]
    pub fn is_named_by(&self, controller_name: &str) -> bool {
        self.name == controller_name
            || (self.name == ISTIO && KNOWN.iter().any(|(_, controller, _)| *controller == controller_name))
    }

    /// What the Gateways of a class are; `None` if the class is not ours.
    #[must_use]
    pub fn role(&self, world: &impl Lookup, class: &str) -> Option<Role> {
        let known = KNOWN.iter().find(|(name, ..)| *name == class).map(|(.., role)| *role);
        let said = world.class(class).map_or("", |class| class.spec.controller_name.as_str());
        if said.is_empty() {
            return known;
        }
        let of_controller = KNOWN.iter().find(|(_, controller, _)| *controller == said).map(|(.., role)| *role);
        self.is_named_by(said).then(|| known.or(of_controller).unwrap_or(Role::Gateway))
    }

    /// What a Gateway is; `None` if it is not ours.
    #[must_use]
    pub fn role_of(&self, world: &impl Lookup, gateway: &Gateway) -> Option<Role> {
        self.role(world, &gateway.spec.gateway_class_name)
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self::new(ISTIO)
    }
}
