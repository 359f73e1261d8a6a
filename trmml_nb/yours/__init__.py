"""How do I use it on my pictures, and share what came out?"""
