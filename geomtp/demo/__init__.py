"""The demo: the whole story on embedded scenes, and a page that shows each stage."""

from geomtp.demo.story import run_demo

__all__ = ["run_demo"]
