package mesh.operations

import rego.v1

deny contains sprintf("%v is protected", [input.request.name]) if {
	input.request.operation == "DELETE"
	input.request.oldObject.metadata.labels.size
}

deny contains "its address stays" if {
	input.request.operation == "UPDATE"
	input.request.oldObject.spec.clusterIP != input.request.object.spec.clusterIP
}
