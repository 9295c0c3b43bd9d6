package k8suniquehosts

identical(obj, review) {
	obj.metadata.namespace == review.namespace
	obj.metadata.name == review.name
}

violation[{"msg": msg}] {
	input.review.kind.kind == "ServiceEntry"
	input.review.operation != "DELETE"
	host := input.review.object.spec.hosts[_]
	other := data.inventory.namespace[namespace][_]["ServiceEntry"][name]
	not identical(other, input.review)
	other.spec.hosts[_] == host
	msg := sprintf("%v: %v/%v has it", [host, namespace, name])
}

violation[{"msg": msg}] {
	input.review.kind.kind == "Service"
	input.review.operation != "DELETE"
	namespace := input.review.namespace
	not data.inventory.cluster["v1"]["Namespace"][namespace]
	msg := sprintf("namespace %v is not there", [namespace])
}
