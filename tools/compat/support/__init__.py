"""What the scripts of the compatibility suite share."""
