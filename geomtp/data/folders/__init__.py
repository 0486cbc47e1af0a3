"""Data sets that people bring as folders: class folders, masks, pairs, COCO, DOTA, YOLO."""

from geomtp.data.folders.building import FolderStore, describe, source_name

__all__ = ["FolderStore", "describe", "source_name"]
