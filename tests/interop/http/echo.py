"""A WebSocket server that says what it is told, with compression (PyPI `websockets`)."""

import asyncio
import sys

import websockets
from websockets.asyncio.server import serve


async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    except websockets.ConnectionClosedError:
        pass  # What the client broke is told by its own verdict.


async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
