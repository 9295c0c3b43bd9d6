"""A process of the Workload API by the Python package `spiffe` (gRPC's C core), for the interop script beside it."""

import sys

from spiffe import WorkloadApiClient

client = WorkloadApiClient()
match sys.argv[1:]:
    case ["show"]:
        context = client.fetch_x509_context()
        svid = context.default_svid
        print(svid.spiffe_id, len(svid.cert_chain), "certificates")
        for bundle in context.x509_bundle_set.bundles:
            print("trusts", bundle.trust_domain.name, len(bundle.x509_authorities), "authorities")
    case ["token", audience]:
        print(client.fetch_jwt_svid(audience={audience}).token)
    case ["validate", audience, token]:
        print(client.validate_jwt_svid(token, audience).spiffe_id)
    case other:
        sys.exit(f"unknown command {other}")
