"""Servers from which a tunnel leads on to a TCP port of 127.0.0.1: tunnel_server.py websocket|tls PORT FOLDER.

Prints "ready", its own port, and for TLS the file of its certificate, which it makes in the folder.
"""
import asyncio
import datetime
import ipaddress
import ssl
import sys

kind, target, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]


async def copy(read, write, end):
    try:
        while data := await read():
            await write(data)
    except Exception as error:  # the tunnel ends with either side
        print(repr(error), file=sys.stderr)
    await end()


async def lead_on(read, write, end):
    reader, writer = await asyncio.open_connection("127.0.0.1", target)

    async def write_on(data):
        writer.write(data)
        await writer.drain()

    async def end_on():
        writer.close()

    await asyncio.gather(copy(read, write_on, end_on), copy(lambda: reader.read(65536), write, end))


def certificate():
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tunnel")])
    now = datetime.datetime.utcnow()
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(key, hashes.SHA256()))
    with open(folder + "/tunnel.pem", "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))
    with open(folder + "/tunnel.key", "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption()))
    return folder + "/tunnel.pem", folder + "/tunnel.key"


async def tls():
    made, key = certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)

    async def serve(reader, writer):
        async def write(data):
            writer.write(data)
            await writer.drain()

        async def end():
            writer.close()

        await lead_on(lambda: reader.read(65536), write, end)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print("ready", server.sockets[0].getsockname()[1], made, flush=True)
    await server.serve_forever()


async def websocket():
    import websockets

    async def serve(connection, path=None):
        async def write(data):
            # In small frames, some of them continued, with questions in between.
            await connection.ping()
            await connection.send([data[i:i + 1000] for i in range(0, len(data), 1000)])

        await lead_on(connection.recv, write, connection.close)

    async with websockets.serve(serve, "127.0.0.1", 0, compression=None) as server:
        print("ready", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


asyncio.run({"tls": tls, "websocket": websocket}[kind]())
