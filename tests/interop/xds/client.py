"""gRPC's C core as a client: calls the health service of TARGET for SECONDS and writes down who answered each call."""
import argparse
import itertools
import threading
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

parser = argparse.ArgumentParser()
parser.add_argument("--header", help="to send with each call, `name: value`")
parser.add_argument("--users", type=int, help="a header `user`, 0 to N - 1 in turn")
parser.add_argument("--calls", type=int, help="so many at most")
parser.add_argument("--parallel", type=int, default=1, help="so many at once")
parser.add_argument("target")
parser.add_argument("seconds", type=int)
parser.add_argument("answers")
arguments = parser.parse_args()

client = health_pb2_grpc.HealthStub(grpc.insecure_channel(arguments.target))
always = [tuple(part.strip() for part in arguments.header.split(":", 1))] if arguments.header else []
end = time.time() + arguments.seconds
calls = itertools.count()


def work(out):
    while time.time() < end:
        call = next(calls)
        if arguments.calls and call >= arguments.calls:
            return
        user = [("user", str(call % arguments.users))] if arguments.users else []
        try:
            _, answer = client.Check.with_call(health_pb2.HealthCheckRequest(), timeout=10, metadata=always + user)
            out.write(dict(answer.initial_metadata())["served-by"] + "\n")
        except grpc.RpcError as error:
            out.write(f"failed: {error.code().name}: {error.details()}".replace("\n", " ") + "\n")
        time.sleep(0.002)


with open(arguments.answers, "w", buffering=1) as file:
    workers = [threading.Thread(target=work, args=(file,)) for _ in range(arguments.parallel)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
