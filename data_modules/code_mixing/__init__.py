"""How texts of one language become texts of two: words switched, scripts changed."""
