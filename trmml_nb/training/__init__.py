"""How well, how fast, how surely?"""
