/* The readers behind the tables of a profile's keys. */
#ifndef APP_PROFILE_KEYS_H
#define APP_PROFILE_KEYS_H

#include "app/parts.h"
#include "app/profiles.h"

part_read_fn profile_keys_read_offers, profile_keys_read_caps, profile_keys_read_connections,
    profile_keys_read_user, profile_keys_read_pass, profile_keys_read_pattern,
    profile_keys_read_same, profile_keys_read_limit, profile_keys_read_quotas,
    profile_keys_read_replies, profile_keys_read_reply, profile_keys_read_phases,
    profile_keys_read_action;

#endif
