"""Weights for others: a card that says what they are, and the Hugging Face hub."""

from geomtp.hub.model_card import model_card, write_card
from geomtp.hub.pretrained import fetch_into, fetch_weights, from_pretrained, push_to_hub

__all__ = [
    "fetch_into",
    "fetch_weights",
    "from_pretrained",
    "model_card",
    "push_to_hub",
    "write_card",
]
