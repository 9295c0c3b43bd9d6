/// Whether a workload takes traffic, as the control plane sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Takes traffic.
    #[default]
    Healthy,
    /// Chosen only by services whose health policy allows all endpoints.
    Unhealthy,
}
