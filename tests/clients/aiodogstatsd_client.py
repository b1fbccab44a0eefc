"""PyPI aiodogstatsd, as its documentation shows it."""

import asyncio
import sys

import aiodogstatsd


async def main():
    address = {"host": "127.0.0.1", "port": int(sys.argv[1])}
    async with aiodogstatsd.Client(**address, namespace="shop", constant_tags={"env": "prod"}) as client:
        client.increment("orders")
        client.decrement("stock", value=3)
        client.gauge("queue", value=4, tags={"name": "mail"})
        client.histogram("basket", value=12.5)
        client.timing("checkout", value=81)


asyncio.run(main())
