"""What the endpoints of all apps share: who calls, for which customer, how lists are cut, what is answered twice."""
