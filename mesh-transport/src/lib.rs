//! How bytes move: HBONE client, server and pool, relays, inbound and outbound proxy services.
