"""The memorisation audit: are generated pictures copies of training pictures?"""
