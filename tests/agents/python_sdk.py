"""Calls every tool of `hythe mcp` with the official Python SDK: python_sdk.py HYTHE SHOP OTHER

The SDK checks each structured answer against the schema of its tool, and raises when it is not so.
"""

import sys
from pathlib import Path

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client
from mcp_types import ListRootsResult, Root

TOOLS = ["cleanup", "explain", "find", "list", "release", "reserve"]


class Roots:
    """The directories that the client has open."""

    def __init__(self, *directories):
        self.directories = directories
        self.asked = 0

    async def __call__(self, context):
        self.asked += 1
        return ListRootsResult(roots=[Root(uri=Path(it).as_uri()) for it in self.directories])


def text(result):
    (only,) = result.content
    return only.text


def ports(result):
    assert not result.is_error, text(result)
    return [service["port"] for service in result.structured_content["services"]]


async def every_tool(call, shop, other):
    reserved = await call("reserve", {"directory": shop, "services": ["web", "api"]})
    web, api = ports(reserved)
    outcome = reserved.structured_content["services"][0]["outcome"]
    assert outcome in ("created", "returned"), outcome
    assert text(reserved) == f"web: {web} ({outcome})\napi: {api} ({outcome})", text(reserved)
    again = await call("reserve", {"directory": shop, "services": ["web"]})
    assert ports(again) == [web] and "existing" in text(again)
    await call("reserve", {"directory": other})

    found = await call("find", {"directory": shop, "service": "api"})
    (reservation,) = found.structured_content["reservations"]
    assert reservation["port"] == api and reservation["directory"] == shop
    listed = await call("list", {})
    assert len(listed.structured_content["reservations"]) == 3
    explained = await call("explain", {"port": web})
    assert explained.structured_content["services"][0]["explanation"]["decision"]
    cleaned = await call("cleanup", {"dry_run": True})
    assert cleaned.structured_content == {"version": 1, "dry_run": True, "released": []}
    released = await call("release", {"directory": shop, "all": True})
    assert len(released.structured_content["released"]) == 2

    failed = await call("release", {"directory": shop, "services": ["web"]})
    assert failed.is_error and failed.meta["hythe/error"]["error"]["code"] == "not-found"
    assert "web" in text(failed)
    wrong = await call("reserve", {"directory": shop, "services": "web"})
    assert wrong.is_error and "`services`" in text(wrong), text(wrong)
    await call("release", {"directory": other})


async def with_a_handshake(server, shop, other):
    roots = Roots(shop)
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write, list_roots_callback=roots) as session:
            hello = await session.initialize()
            assert hello.server_info.name == "hythe", hello
            tools = await session.list_tools()
            assert sorted(tool.name for tool in tools.tools) == TOOLS
            await every_tool(session.call_tool, shop, other)

            assert roots.asked == 0
            result = await session.call_tool("reserve", {"services": ["web"]})
            reservation = result.structured_content["services"][0]["reservation"]
            assert (roots.asked, reservation["directory"]) == (1, shop)
            roots.directories = (shop, other)
            await session.send_roots_list_changed()
            result = await session.call_tool("reserve", {"services": ["web"]})
            assert result.is_error and shop in text(result) and other in text(result)
            roots.directories = (other,)
            result = await session.call_tool("release", {"services": ["web"]})
            assert result.is_error, "it is another directory's"
            result = await session.call_tool("release", {"directory": shop, "services": ["web"]})
            assert not result.is_error, text(result)
    print(f"with a handshake: {hello.protocol_version}")


async def without_a_handshake(server, shop, other):
    roots = Roots(shop)
    async with Client(server, list_roots_callback=roots) as client:
        version = client.session.protocol_version
        tools = await client.list_tools()
        assert sorted(tool.name for tool in tools.tools) == TOOLS
        await every_tool(client.call_tool, shop, other)
        result = await client.call_tool("reserve", {})
        reservation = result.structured_content["services"][0]["reservation"]
        assert (roots.asked, reservation["directory"]) == (1, shop)
    print(f"without a handshake: {version}")


async def main(program, shop, other):
    server = StdioServerParameters(command=program, args=["mcp"], env=None)
    with anyio.fail_after(60):
        await with_a_handshake(server, shop, other)
        await without_a_handshake(server, shop, other)
    print("all is well")


anyio.run(main, *sys.argv[1:4])
