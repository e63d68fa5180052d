"""The process that fronts the store: takes tasks in, hands them out, tells who waits."""

from tailrace.server.config import ServerConfig
from tailrace.server.process import Server

__all__ = ["Server", "ServerConfig"]
