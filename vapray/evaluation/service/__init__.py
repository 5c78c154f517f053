"""What a service measures against a run's real pictures, long after its stages have ended.

``real_pictures`` finds them, ``real_features`` has their features, ``reference`` holds what they are compared by,
``set_measurement`` measures a set of pictures with the functions of the stage ``evaluate``, ``neighbours`` finds the
training pictures nearest to one.
"""
