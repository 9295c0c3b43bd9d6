package k8srequiredlabels

violation[{"msg": msg, "details": {"missing": missing}}] {
	input.review.kind.kind == "Namespace"
	provided := {label | input.review.object.metadata.labels[label]}
	required := {"owner", "tier"}
	missing := required - provided
	count(missing) > 0
	msg := sprintf("labels are missing: %v", [concat(", ", sort(missing))])
}
