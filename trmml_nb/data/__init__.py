"""What do we know of an image, and what not?"""
