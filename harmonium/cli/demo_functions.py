"""`--tools demo`: functions to try tool calls with, whose answers are made up."""

from __future__ import annotations


def get_current_weather(city: str) -> str:
    """Get the current weather in a city.

    Args:
        city: The city's name, such as Madrid.
    """
    weather = {"madrid": "sunny, 27 degrees", "paris": "light rain, 16 degrees", "tokyo": "cloudy, 21 degrees"}
    return weather.get(city.lower(), "clear, 20 degrees")


def get_price(product: str) -> str:
    """Get the price of a product.

    Args:
        product: The product's name, such as bicycle.
    """
    return f"{20 + 7 * len(product)} euros"
