"""Pictures of a result: boxes, arrows, keywords, highlighted words on one page (Fig. 8); knows results, no model."""

from cyclicxr.explain.files import ResultPaths, write_index, write_result
from cyclicxr.explain.page import IndexEntry, index_page, page

__all__ = ["IndexEntry", "ResultPaths", "index_page", "page", "write_index", "write_result"]
