"""Responds to GET with its name, to POST with the size of the body, to /slow?MS after a delay, and echoes upgraded streams."""

import asyncio
import base64
import hashlib
import os
import signal

NAME = os.environ["NAME"]
# From RFC 6455.
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def body_of(reader, headers):
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def serve(reader, writer):
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = lines[0].split(" ", 2)
            headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines[1:] if ": " in line)}
            if "upgrade" in headers:
                key = headers.get("sec-websocket-key", "") + MAGIC
                accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
                head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                writer.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
                return
            body = await body_of(reader, headers)
            if path.startswith("/slow?"):
                await asyncio.sleep(int(path.removeprefix("/slow?")) / 1000)
            text = NAME if method == "GET" else f"{NAME} {len(body)}"
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            await writer.drain()
            if headers.get("connection") == "close":
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 5000, backlog=1024)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
    async with server:
        await server.wait_closed()


asyncio.run(main())
