//! Services that are labelled to be for all networks, and are not.

use super::context::{Context, Report};
use crate::finding::Code;
use crate::resource::Kind;
use crate::translate::{GLOBAL, ServiceScope, service_scope};

/// Labels that the settings of the mesh do not look at.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    for (origin, service) in context.world.services.values() {
        let metadata = &service.metadata;
        let is_labelled = metadata.labels.get(GLOBAL).is_some_and(|value| value == "true");
        if is_labelled && service_scope(context.world, context.input.place, metadata) == ServiceScope::Local {
            let message = format!(
                "`{GLOBAL}` has no effect: `serviceScopeConfigs` of the ConfigMap `istio` does not make the service global"
            );
            report.say(Code::GLOBAL_LABEL, (Kind::Service, metadata), origin, "metadata.labels", message);
        }
    }
}
