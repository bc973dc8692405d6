"""The page in the browser: the operator's view, served on the loopback interface when it is asked for.

Importing this imports neither starlette nor uvicorn: they come with the extra `web`, and with the first page.
"""

from pumas_agent.web.address import LoopbackAddress
from pumas_agent.web.page import Page
from pumas_agent.web.token import page_link, token_path

__all__ = ["LoopbackAddress", "Page", "page_link", "token_path"]
