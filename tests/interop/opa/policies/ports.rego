package mesh.ports

import rego.v1

deny contains msg if {
	input.request.kind.kind == "Service"
	some port in input.request.object.spec.ports
	not port.name
	msg := sprintf("port %v of %v has no name", [port.port, input.request.name])
}

warn contains "no selector" if {
	input.request.kind.kind == "Service"
	not input.request.object.spec.selector
}
