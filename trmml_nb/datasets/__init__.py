"""How are published data sets and settings repeated?"""
