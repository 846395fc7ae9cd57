"""Starts tuspyserver as its README does, under uvicorn with uvloop and httptools, without an access log.

Runs in the peers' own environment: python tuspyserver_app.py PORT DIRECTORY
"""

import sys

import uvicorn
from fastapi import FastAPI  # type: ignore[import-not-found]  # only in the peers' environment
from tuspyserver import create_tus_router  # type: ignore[import-not-found]


def main() -> None:
    """Serve until the process is ended."""
    port, directory = int(sys.argv[1]), sys.argv[2]
    app = FastAPI()
    app.include_router(create_tus_router(prefix="files", files_dir=directory))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
