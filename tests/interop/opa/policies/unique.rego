package mesh.unique

import rego.v1

deny contains msg if {
	input.request.kind.kind == "ServiceEntry"
	some host in input.request.object.spec.hosts
	some namespace, entries in data.mesh.serviceentries
	some name, other in entries
	[namespace, name] != [input.request.namespace, input.request.name]
	host in other.spec.hosts
	msg := sprintf("%v is that of %v/%v", [host, namespace, name])
}

deny contains sprintf("%v is a wide range", [address]) if {
	some address in input.request.object.spec.addresses
	net.cidr_contains(address, "10.0.0.0/9")
}

deny contains "a number that is none" if to_number(input.request.object.metadata.labels.size) > 3
