"""Linking files of the library into the folders of applications."""

from pumas_agent.mapping.service import ForgottenLinks, MappingService

__all__ = ["ForgottenLinks", "MappingService"]
